# syntax=docker/dockerfile:1
# docker buildx build --platform linux/amd64,linux/arm64 -t leasehold:0.1.0 .
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

# JavaScript is the same for every platform, so it is bundled once, on the machine that builds.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
# No install scripts: the image has Node already, and esbuild's and koffi's programs come as packages.
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts/build.ts scripts/
COPY src src
RUN node scripts/build.ts /out

# koffi's native part is a package per platform; npm is told for which one.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS native
ARG TARGETARCH
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN case "$TARGETARCH" in amd64) cpu=x64 ;; *) cpu=$TARGETARCH ;; esac \
 && npm ci --omit=dev --ignore-scripts --os=linux --libc=glibc --cpu="$cpu" \
 && test -d "node_modules/@koromix/koffi-linux-$cpu"

FROM ${NODE_IMAGE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends nftables \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=native /src/node_modules/koffi node_modules/koffi
COPY --from=native /src/node_modules/@koromix node_modules/@koromix
COPY --from=build /out dist
COPY package.json LICENSE ./
# `ctr run IMAGE ID leasehold manifest pod ...`: ctr puts the command in place of the entry point.
RUN ln -s /app/dist/leasehold.js /usr/local/bin/leasehold
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="leasehold" \
      org.opencontainers.image.description="One highly available address for a kubeadm control plane" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production
# uid 0, and of its capabilities only NET_ADMIN and NET_RAW (manifests/leasehold.yaml): addresses, raw frames, admin.conf.
USER 0
ENTRYPOINT ["node", "--enable-source-maps", "/app/dist/leasehold.js"]
CMD ["run"]
