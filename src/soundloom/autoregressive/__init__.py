"""Generation of codes one position at a time: delay pattern, sampling and the loop; shared by both engines."""
