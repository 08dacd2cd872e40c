"""When should an archived issue come back? The workbench for spike limits on issue occurrences."""
