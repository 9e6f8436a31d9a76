-- Which of a channel's providers made the last attempt.
ALTER TABLE notify.deliveries ADD COLUMN provider text;
