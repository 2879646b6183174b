"""From metrics to what a person or a script reads: renderers return text, nothing here prints."""
