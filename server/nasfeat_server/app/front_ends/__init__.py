"""Front ends in processes of their own: `group` keeps them, `child` is one seen from outside, `process` from inside."""
