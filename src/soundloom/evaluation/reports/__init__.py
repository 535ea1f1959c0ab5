"""Reports: what was measured and how, as JSON, Markdown and one HTML page; comparisons and gates."""
