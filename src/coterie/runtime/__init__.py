"""What a process needs: tasks side by side, CPU time, files that survive a crash."""
