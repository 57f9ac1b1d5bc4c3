# Muster in a container: `docker build -t muster .`; docker-compose.yml runs it with PostgreSQL and Redis.

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /srv/muster
ENV PATH=/srv/muster/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# The packages first, each checked against its hash: this layer changes only when the lock does.
COPY requirements.txt ./
RUN pip install --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY actors actors
COPY templates templates
RUN pip install --no-deps .

FROM python:3.13-slim
# A number, so that a platform can see that it is not root without reading the image's password file.
RUN groupadd --gid 10001 muster && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin muster
COPY --from=build /srv/muster /srv/muster
ENV PATH=/srv/muster/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv
USER 10001:10001
# Muster finishes or releases what is in hand within 10 seconds of SIGTERM.
STOPSIGNAL SIGTERM
ENTRYPOINT ["muster"]
CMD ["worker", "--processes", "1", "--threads", "4"]
