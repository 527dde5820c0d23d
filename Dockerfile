# The image that SageMaker runs. Build it with `make image`; docs/image.md says how it is made up.
#
#   --build-arg XGBOOST=cpu|gpu           which of XGBoost's two wheels, and which lock file
#   --build-arg XGBOOST_VERSION=3.2.0     another version than the lock's, outside the lock's hashes
#
# A machine behind its own certificate authority passes it as `--secret id=ca,src=BUNDLE`: the build
# stages trust it, and the image keeps no trace of it.
ARG BASE=debian:trixie-slim
ARG XGBOOST=cpu

# --- The dependencies: wheels whose hashes the lock knows, without what never runs here --------------
FROM ${BASE} AS dependencies
# python3-venv brings the interpreter that the runtime stage installs too, and a pip for this stage alone.
RUN apt-get update -q && apt-get install -qy --no-install-recommends python3-venv
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/treering/venv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore

ARG XGBOOST
COPY requirements-${XGBOOST}.lock /build/runtime.lock
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && /build/bin/pip --python /opt/treering/venv/bin/python install --no-compile \
        --only-binary :all: --require-hashes -r /build/runtime.lock

ARG XGBOOST_VERSION=
RUN --mount=type=secret,id=ca \
    if [ -z "${XGBOOST_VERSION}" ]; then exit 0; fi \
 && if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && if [ "${XGBOOST}" = cpu ]; then package=xgboost-cpu; else package=xgboost; fi \
 && echo "${package} ${XGBOOST_VERSION} stands outside the lock: its hash is not checked" \
 && /build/bin/pip --python /opt/treering/venv/bin/python install --no-compile \
        --only-binary :all: "${package}==${XGBOOST_VERSION}"

COPY scripts/prune_venv.sh /build/
RUN /build/prune_venv.sh /opt/treering/venv \
 && /opt/treering/venv/bin/python -m compileall -q -j 0 /opt/treering/venv/lib

# --- The package: a layer of its own, so that a change of our code is a small push --------------------
FROM dependencies AS package
COPY requirements-build.lock /build/
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && /build/bin/pip install --only-binary :all: --require-hashes -r /build/requirements-build.lock
COPY pyproject.toml README.md LICENSE /source/
COPY container /source/container
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /source \
 && /build/bin/pip --python /opt/treering/venv/bin/python install --no-deps --root /staged /wheels/*.whl
# The commands get a folder that no pip ever writes to: sagemaker-training installs a `train` as well, and
# whichever package came last would win in a shared one.
COPY --chmod=755 scripts/entrypoint.sh /staged/opt/treering/bin/entrypoint
COPY scripts/bash_env.sh /staged/opt/treering/bin/bash_env
RUN cd /staged/opt/treering && mv venv/bin/train venv/bin/treering bin/ && rmdir venv/bin

# --- The image ---------------------------------------------------------------------------------------
FROM ${BASE} AS runtime-cpu
RUN apt-get update -q \
 && apt-get install -qy --no-install-recommends python3 \
 && rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /usr/share/doc/*
COPY --from=dependencies /opt/treering /opt/treering
COPY --from=package /staged/ /
# Log lines come out as they are written; nothing is written beside the code, whose root may be read-only.
# SDK v3 puts bash and a script of its own in the place of our entry point: bash reads BASH_ENV before it.
ENV BASH_ENV=/opt/treering/bin/bash_env \
    PATH=/opt/treering/bin:/opt/treering/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/opt/treering/bin/entrypoint"]
CMD ["train"]

FROM runtime-cpu AS runtime-gpu
# What the NVIDIA container runtime reads to hand the devices and the driver's libraries in.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime-${XGBOOST}
ARG XGBOOST
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="treering" \
      org.opencontainers.image.description="Gradient-boosted trees on any number of SageMaker hosts (XGBoost, ${XGBOOST})" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
