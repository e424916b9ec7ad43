"""Who may use the server, and as whom it runs: tokens and tenants, certificates, privileges."""
