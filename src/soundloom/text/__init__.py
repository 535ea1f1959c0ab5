"""From a prompt to token ids and their mask."""
