"""Services for a process: concurrent tasks, CPU time, files that survive a crash."""
