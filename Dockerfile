# restbridge in a container:
#
#   docker build -t restbridge .
#   docker run -v ./restbridge.toml:/etc/restbridge/restbridge.toml:ro -v restbridge:/var/lib/restbridge \
#       -p 8080:8080 --stop-timeout 20 restbridge
#
# In the configuration: listen = "tcp:8080", as 127.0.0.1 would be the container's own.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY . .
# twistd keeps what it knows of plugins beside them; later that can't be written any more.
RUN python -m venv /opt/restbridge \
    && /opt/restbridge/bin/pip install --no-cache-dir ".[oauth2,postgresql]" \
    && /opt/restbridge/bin/twistd --help > /dev/null

FROM python:3.11-slim-bookworm
# By number, so that Kubernetes sees that it isn't root.
RUN groupadd --system --gid 10001 restbridge \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin restbridge \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/restbridge
COPY --from=build /opt/restbridge /opt/restbridge
ENV PATH="/opt/restbridge/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
USER 10001:10001
# "sqlite:restbridge.sqlite" is here.
WORKDIR /var/lib/restbridge
VOLUME ["/var/lib/restbridge"]
EXPOSE 8080
# There is no curl here. Alive is enough: whether the XMPP server is up says /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["twistd", "-n", "--pidfile=", "restbridge"]
CMD ["--config", "/etc/restbridge/restbridge.toml"]
