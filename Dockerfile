# Serves a run: docker build -t reprise . ; docs/serving.md says how to start it.
FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /opt/reprise
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/reprise/bin/pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM python:3.12-slim
COPY --from=build /opt/reprise /opt/reprise
# Runs are mounted read-only: the server writes nothing.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin reprise
USER 10001
ENV PATH=/opt/reprise/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["reprise", "serve"]
CMD ["--help"]
