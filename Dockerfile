# syntax=docker/dockerfile:1
# An image of the service. PostgreSQL and Redis run elsewhere (DATABASE_URL, REDIS_URL).

# --- the dependencies, pinned by hash
FROM python:3.13-slim AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt ./
RUN /opt/venv/bin/pip install --require-hashes -r requirements.txt

# --- the service
FROM python:3.13-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=settings.production \
    HOST=0.0.0.0 \
    PORT=8080
RUN groupadd --gid 10001 pcf && useradd --uid 10001 --gid pcf --no-create-home --home-dir /nonexistent pcf
WORKDIR /app
COPY --from=dependencies /opt/venv /opt/venv
COPY manage.py gunicorn.conf.py ./
COPY scripts/healthcheck.py scripts/
COPY settings settings
COPY users users
COPY tags tags
COPY notes notes
COPY web web
COPY pcf pcf
# Production settings need these variables; static files do not depend on their values.
RUN SECRET_KEY=$(python -c "import secrets; print(secrets.token_urlsafe(48))") \
    ALLOWED_HOSTS=build.invalid \
    DATABASE_URL=postgres://build.invalid/build REDIS_URL=redis://build.invalid/0 \
    python manage.py collectstatic --noinput
# Code and static files belong to root, so the service cannot change them. It writes to /tmp and /dev/shm only.
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "scripts/healthcheck.py"]
CMD ["gunicorn", "-c", "gunicorn.conf.py", "pcf.asgi:application"]
