# One build, an image a service:
#
#     docker build --target delivery .

FROM rust:1.95.0-slim-bookworm AS rust
WORKDIR /src
# Symbols for a backtrace, without line numbers: half the size.
ENV CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_DEBUG=false CARGO_TERM_COLOR=never

# The manifests with empty sources: the same bytes whatever changed in our code.
FROM rust AS manifests
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -path './.cargo/*' -delete \
    && find . -type d -empty -delete \
    && find . -mindepth 2 -name Cargo.toml -execdir \
        sh -c 'mkdir src && : >src/lib.rs && echo "fn main() { }" >src/main.rs' ';'

# Built once for as long as the manifests stay.
FROM rust AS dependencies
COPY --from=manifests /src .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --locked --release -p order -p delivery -p invoice -p email -p dashboard -p demo
FROM dependencies AS build
COPY . .
# Cargo goes by times, and the empty sources were built later than these were written.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    find . -path ./target -prune -o -name '*.rs' -exec touch '{}' + \
    && cargo build --locked --release -p order -p delivery -p invoice -p email -p dashboard -p demo \
    && mkdir /out \
    && cp target/release/order target/release/delivery target/release/invoice \
        target/release/email target/release/dashboard target/release/waybill /out

# The same Debian as the build's: its libc is what the binaries are linked with.
FROM debian:12.12-slim AS runtime
USER 10001:10001
STOPSIGNAL SIGTERM

FROM runtime AS order
COPY --from=build /out/order /usr/local/bin/
ENV HTTP_ADDR=0.0.0.0:8081
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["order", "health"]
ENTRYPOINT ["order"]

FROM runtime AS delivery
COPY --from=build /out/delivery /usr/local/bin/
ENV HTTP_ADDR=0.0.0.0:8082
EXPOSE 8082
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["delivery", "health"]
ENTRYPOINT ["delivery"]

FROM runtime AS invoice
COPY --from=build /out/invoice /usr/local/bin/
ENV HTTP_ADDR=0.0.0.0:8083
EXPOSE 8083
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["invoice", "health"]
ENTRYPOINT ["invoice"]

FROM runtime AS email
COPY --from=build /out/email /usr/local/bin/
ENV HTTP_ADDR=0.0.0.0:8084
EXPOSE 8084
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["email", "health"]
ENTRYPOINT ["email"]

FROM runtime AS dashboard
COPY --from=build /out/dashboard /usr/local/bin/
ENV HTTP_ADDR=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["dashboard", "health"]
ENTRYPOINT ["dashboard"]

# Migrates, loads and verifies; what it works on is told by its environment.
FROM runtime AS waybill
COPY --from=build /out/waybill /usr/local/bin/
ENTRYPOINT ["waybill"]
