"""Programs that each print one table of ratios, measured in one run on one machine. Nothing else imports them."""
