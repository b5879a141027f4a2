"""The Model Context Protocol at the gateway's `/mcp` and over stdio: specialists as tools, indexes as resources."""
