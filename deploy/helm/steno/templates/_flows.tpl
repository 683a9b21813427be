{{- /* Who connects to whom within the release: a list of {from, to, ports}. */}}
{{- define "steno.flows" -}}
{{- $topology := include "steno.topology" . | fromYaml -}}
{{- range $from, $own := $topology }}
{{- range $own.calls }}
- {from: {{ $from }}, to: {{ . }}, ports: [{{ (index $topology .).ports.grpc }}]}
{{- end }}
{{- if $own.database }}
- {from: {{ $from }}, to: postgres, ports: [5432]}
{{- end }}
- {from: {{ $from }}, to: nats, ports: [4222, 8222]}
{{- end }}
{{- range include "steno.dataClients" . | fromYamlArray }}
- {from: {{ . }}, to: storage, ports: [{{ $topology.storage.ports.data }}]}
{{- end }}
- {from: migrate, to: postgres, ports: [5432]}
- {from: operator, to: postgres, ports: [5432]}
- {from: operator, to: billing, ports: [{{ $topology.billing.ports.grpc }}]}
- {from: operator, to: gateway, ports: [{{ $topology.gateway.ports.http }}]}
- {from: storage, to: s3, ports: [3900]}
- {from: inference, to: triton, ports: [8001]}
{{- end }}

{{- /* Components whose pods this release has. */}}
{{- define "steno.components" -}}
{{- $found := concat (include "steno.topology" . | fromYaml | keys | sortAlpha) (list "migrate" "operator") -}}
{{- range $server := list "postgres" "nats" "s3" "triton" -}}
{{- if eq (index $.Values $server).mode "chart" -}}
{{- $found = append $found $server -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end }}

{{- /* Connections from outside the release, to a component: a list of {peers, ports}; without peers from everywhere: (list $ component). */}}
{{- define "steno.entrances" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $policy := $root.Values.networkPolicy -}}
{{- $own := index (include "steno.topology" $root | fromYaml) $component | default dict -}}
{{- if eq $component "gateway" }}
- {peers: {{ toJson $policy.clients }}, ports: [{{ $own.ports.http }}]}
{{- end }}
{{- if and $own $policy.monitoring }}
- {peers: {{ toJson $policy.monitoring }}, ports: [{{ include "steno.metricsPort" $root }}]}
{{- end }}
{{- if and (dig "ports" "grpc" 0 $own) $policy.grpcClients }}
- peers: {{ toJson $policy.grpcClients }}
  ports:
    {{- range $own.ports }}
    - {{ . }}
    {{- end }}
{{- end }}
{{- if and (eq $component "triton") $policy.monitoring }}
- {peers: {{ toJson $policy.monitoring }}, ports: [8002]}
{{- end }}
{{- if and (eq $component "nats") $root.Values.services.inference.keda.enabled $policy.keda }}
- {peers: {{ toJson $policy.keda }}, ports: [8222]}
{{- end }}
{{- end }}

{{- /* Connections to what is outside the release, from a component: a list of {peers, ports}: (list $ component). */}}
{{- define "steno.exits" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := $root.Values -}}
{{- $external := $values.networkPolicy.external -}}
{{- $own := index (include "steno.topology" $root | fromYaml) $component | default dict -}}
{{- $database := or $own.database (has $component (list "migrate" "operator")) -}}
{{- if and $database (eq $values.postgres.mode "external") }}
- {peers: {{ toJson $external.postgres }}, ports: [{{ $external.postgresPort }}]}
{{- end }}
{{- if and $own (eq $values.nats.mode "external") }}
- {peers: {{ toJson $external.nats }}, ports: [{{ $external.natsPort }}, {{ $external.natsMonitorPort }}]}
{{- end }}
{{- if and (has $component (list "storage" "gateway" "inference")) (eq $values.s3.mode "external") $external.s3 }}
- {peers: {{ toJson $external.s3 }}, ports: [{{ $external.s3Port }}]}
{{- end }}
{{- if and (eq $component "inference") (eq $values.triton.mode "external") }}
- {peers: {{ toJson $external.triton }}, ports: [{{ $external.tritonPort }}]}
{{- end }}
{{- if and $own $values.tracing.endpoint }}
- {peers: {{ toJson $external.telemetry }}, ports: [{{ $external.telemetryPort }}]}
{{- end }}
{{- if and (has $component (list "gateway" "storage")) (index $external $component) }}
- {peers: {{ index $external $component | toJson }}, ports: []}
{{- end }}
{{- end }}

{{- /* Every public address, and none that Steno itself refuses to fetch from. */}}
{{- define "steno.internet" -}}
{{- $networks := .Files.Get "files/networks.yaml" | fromYaml -}}
{{- $private := .Values.networkPolicy.privateNetworks -}}
{{- range $networks.families }}
{{- $except := .except }}
{{- $mark := .mark }}
{{- range $private }}
{{- if contains $mark . }}
{{- $except = append $except . }}
{{- end }}
{{- end }}
- ipBlock: {cidr: {{ .cidr | quote }}, except: {{ toJson $except }}}
{{- end }}
{{- end }}
