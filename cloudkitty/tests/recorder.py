# SPDX-License-Identifier: Apache-2.0
"""A paste filter that writes down every answer of the API: a line ``status method path?query`` each."""


class Recorder:
    """Appends to the file *path*."""

    def __init__(self, application, path):
        self._application = application
        self._path = path

    @classmethod
    def factory(cls, global_conf, path):
        return lambda application: cls(application, path)

    def __call__(self, environ, start_response):
        def start(status, headers, exc_info=None):
            words = (status.split()[0], environ['REQUEST_METHOD'], environ['PATH_INFO'])
            query = environ.get('QUERY_STRING')
            with open(self._path, 'a') as file:
                file.write('%s%s\n' % (' '.join(words), query and '?%s' % query))
            return start_response(status, headers, exc_info)

        return self._application(environ, start)
