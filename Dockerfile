# syntax=docker/dockerfile:1
# docker buildx build -t leasehold:0.1.0 --load .       or, without Docker: npm run image
# Behind a registry of your own: --secret id=npmrc,src=FILE --secret id=ca,src=FILE (a bundle of certificates). Neither gets into
# a layer.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

# JavaScript is the same for every platform, so it is bundled once, on the machine that builds.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
# No install scripts: the image has Node already, and esbuild's and koffi's programs come as packages.
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca npm_config_cafile=/run/secrets/ca; fi \
 && npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts/build.ts scripts/
COPY src src
RUN node scripts/build.ts /out

# koffi's native part is a package per platform. npm is told for which one.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS native
ARG TARGETARCH
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca npm_config_cafile=/run/secrets/ca; fi \
 && case "$TARGETARCH" in amd64) cpu=x64 ;; *) cpu=$TARGETARCH ;; esac \
 && npm ci --omit=dev --ignore-scripts --os=linux --libc=glibc --cpu="$cpu" \
 && test -d "node_modules/@koromix/koffi-linux-$cpu"

# Debian with nft and Node, and without npm: nothing in the image installs packages of npm.
FROM ${NODE_IMAGE} AS system
RUN if ! command -v nft; then apt-get update && apt-get install -y --no-install-recommends nftables; fi \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* /root/.npm /tmp/* \
           /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn* /opt/yarn* \
           /usr/local/include/node /usr/share/man /usr/share/locale \
 && mkdir -p /app && ln -s /app/dist/leasehold.js /usr/local/bin/leasehold

# One layer for what seldom changes, so that what was removed above is not in the image either, and one for what a version changes.
FROM scratch
COPY --from=system / /
WORKDIR /app
COPY --from=native /src/node_modules/koffi node_modules/koffi
COPY --from=native /src/node_modules/@koromix node_modules/@koromix
COPY --from=build /out dist
COPY package.json LICENSE ./
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="leasehold" \
      org.opencontainers.image.description="One highly available address for a kubeadm control plane" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV NODE_ENV=production
# Memory: one arena for all threads, and what is free at its end goes back to the kernel (mallopt(3)).
ENV MALLOC_ARENA_MAX=1
ENV MALLOC_TRIM_THRESHOLD_=65536
# uid 0, and of its capabilities only NET_ADMIN and NET_RAW (manifests/leasehold.yaml): addresses, raw frames, admin.conf.
USER 0
# `ctr run IMAGE ID leasehold manifest pod ...` puts a command in place of this one. The system has `leasehold` on its PATH.
# Node's flags are in the first line of src/leasehold.js.
ENTRYPOINT ["/app/dist/leasehold.js"]
CMD ["run"]
