"""What is done with contacts and directories. Every write goes through here."""
