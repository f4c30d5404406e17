#!/bin/sh
# Takes what people give the images of Distribution: nothing, a configuration file, or a command.
set -eu

case "${1:-}" in
    "")
        # registry:2 has its file here; who mounts one means it.
        if [ -e /etc/docker/registry/config.yml ]; then
            set -- registry serve /etc/docker/registry/config.yml
        else
            set -- registry serve /etc/distribution/config.yml
        fi
        ;;
    *.yaml | *.yml) set -- registry serve "$@" ;;
    registry | lading | digest | /*) ;;
    sh | bash) ;;
    *) set -- registry "$@" ;;
esac

exec "$@"
