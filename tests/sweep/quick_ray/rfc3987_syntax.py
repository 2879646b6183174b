"""Stands before a package of this name in the cluster's processes: jsonschema does without it, and Ray imports jsonschema.

The package compiles a grammar at its import, which takes two seconds of each of a dozen processes.
"""

raise ImportError("not wanted here")
