# One image for every process of the service: API (the default command), worker and Ray node.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HWNAS_DATA_DIR=/data \
    HWNAS_HOST=0.0.0.0

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY search_spaces ./search_spaces
COPY latency_models ./latency_models
COPY nas ./nas
COPY api ./api
RUN pip install -c constraints.txt ".[openvino,postgres]"

RUN useradd --create-home --uid 10001 hwnas && install -d -o hwnas /data
USER hwnas
# not /app, whose sources would shadow the installed packages
WORKDIR /home/hwnas
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "api.serve"]
