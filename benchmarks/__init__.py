"""The measurements that README and docs/ quote, one folder per question; see README.md here."""
