"""An evaluation from its protocol to its report: cases, runs that can be resumed, statistics, tables, pictures."""
