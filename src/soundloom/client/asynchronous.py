"""placeholder"""


class AsyncClient: ...
