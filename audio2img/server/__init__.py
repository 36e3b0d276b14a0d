"""The studio: a page in the browser where one speaks and sees, served by this machine to the person
who sits at it."""
