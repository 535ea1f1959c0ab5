"""The interfaces of other services, as thin translations into jobs. What is not honored is named in the answer."""
