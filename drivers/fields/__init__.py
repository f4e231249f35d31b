"""Messages -> the values of points, for every protocol whose machines send messages: text of any form, or bytes."""
