{{- /* A value as the environment writes it; toJson, because Helm's numbers are floats. */}}
{{- define "steno.plain" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end }}

{{- /* What the chart itself sets, without the prefix STENO_<SERVICE>_: (list $ service). */}}
{{- define "steno.wiring" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $values := $root.Values -}}
{{- $name := include "steno.fullname" $root -}}
{{- $topology := include "steno.topology" $root | fromYaml -}}
{{- $own := index $topology $service -}}
{{- $pod := index $values.services $service -}}
HOST: 0.0.0.0
PORT: {{ coalesce $own.ports.http $own.ports.grpc }}
PROFILE: production
METRICS_PORT: {{ include "steno.metricsPort" $root }}
LOG_FORMAT: json
SHUTDOWN_NOTICE_SECONDS: {{ $pod.noticeSeconds }}
SHUTDOWN_GRACE_SECONDS: {{ min 300 (sub (int $pod.terminationGracePeriodSeconds) (add (int $pod.preStopSeconds) (int $pod.noticeSeconds) 10)) }}
IDENTITY_KEY_FILE: /etc/steno/keys/identity.pem
TLS_CERTIFICATE_FILE: /etc/steno/certificates/tls.crt
TLS_KEY_FILE: /etc/steno/certificates/tls.key
TLS_AUTHORITY_FILE: /etc/steno/certificates/ca.crt
TLS_TRUST_DOMAIN: {{ $values.mtls.trustDomain }}
NATS_URL: {{ if eq $values.nats.mode "chart" }}tls://{{ $name }}-nats:4222{{ else }}{{ $values.nats.external.url }}{{ end }}
{{- if eq $values.nats.mode "chart" }}
NATS_MONITOR_URL: http://{{ $name }}-nats:8222
{{- else if $values.nats.external.monitorUrl }}
NATS_MONITOR_URL: {{ $values.nats.external.monitorUrl }}
{{- end }}
{{- range $own.calls }}
{{ upper . }}_ADDRESS: dns:///{{ $name }}-{{ . }}:{{ (index $topology .).ports.grpc }}
{{- end }}
{{- include (printf "steno.wiring.%s" $service) $root }}
{{- end }}

{{- define "steno.wiring.gateway" }}
STORAGE_DATA_URL: {{ include "steno.dataUrl" . }}
{{- if .Values.issuersSecret }}
OIDC_ISSUERS_FILE: /etc/steno/issuers/issuers.toml
{{- end }}
{{- if .Values.summaryChatSecret }}
SUMMARY_CHAT_KEY_FILE: /etc/steno/summary-chat/key
{{- end }}
{{- if .Values.egressAuthorityConfigMap }}
EGRESS_CA_FILE: /etc/steno/egress/ca.crt
{{- end }}
{{- end }}

{{- define "steno.wiring.billing" }}
PEPPER_FILE: /etc/steno/keys/pepper
{{- if .Values.plans }}
PLANS_FILE: /etc/steno/plans.toml
{{- end }}
{{- if .Values.stripeSecret }}
PAYMENT_PROVIDER: stripe
STRIPE_SECRET_KEY_FILE: /etc/steno/stripe/secret-key
STRIPE_WEBHOOK_SECRET_FILE: /etc/steno/stripe/webhook-secret
{{- end }}
{{- end }}

{{- define "steno.wiring.storage" }}
SIGNING_KEY_FILE: /etc/steno/keys/signing-key
DATA_PORT: 7012
DATA_URL: {{ include "steno.dataUrl" . }}
BLOB_DIRECTORY: /var/lib/steno/blobs
{{- if eq .Values.s3.mode "none" }}
BLOB_STORE: directory
{{- else }}
BLOB_STORE: s3
S3_BUCKET: {{ .Values.s3.bucket }}
S3_REGION: {{ .Values.s3.region }}
{{- end }}
{{- if eq .Values.s3.mode "chart" }}
S3_ENDPOINT: http://{{ include "steno.fullname" . }}-s3:3900
S3_PRESIGNED_DOWNLOADS: "false"
{{- else if and (eq .Values.s3.mode "external") .Values.s3.endpoint }}
S3_ENDPOINT: {{ .Values.s3.endpoint }}
{{- end }}
{{- if .Values.egressAuthorityConfigMap }}
EGRESS_CA_FILE: /etc/steno/egress/ca.crt
{{- end }}
{{- end }}

{{- define "steno.wiring.jobs" }}
CLAIM_KEY_FILE: /etc/steno/keys/claim-key
{{- end }}

{{- define "steno.wiring.inference" }}
SCRATCH_DIRECTORY: /var/lib/steno/scratch
{{- if include "steno.modelsClaim" . }}
MODELS_DIRECTORY: /var/lib/steno/models
{{- end }}
ENGINE: {{ if eq .Values.triton.mode "none" }}local{{ else }}triton{{ end }}
{{- if eq .Values.triton.mode "chart" }}
TRITON_ADDRESS: {{ include "steno.fullname" . }}-triton:8001
TRITON_TLS: "true"
{{- else if eq .Values.triton.mode "external" }}
TRITON_ADDRESS: {{ .Values.triton.external.address }}
TRITON_TLS: {{ .Values.triton.external.tls | quote }}
{{- end }}
{{- if and (ne .Values.triton.mode "none") .Values.triton.controlSecret }}
TRITON_MODEL_CONTROL: "true"
{{- end }}
{{- end }}

{{- define "steno.dataUrl" -}}
https://{{ include "steno.fullname" . }}-storage-data:7012
{{- end }}

{{- /* Settings whose values are secrets, as NAME: {secret, key}; services read them from files: (list $ service). */}}
{{- define "steno.secretSettings" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $topology := include "steno.topology" $root | fromYaml -}}
{{- if (index $topology $service).database }}
DATABASE_URL: {{ include "steno.databaseReference" . }}
{{- end }}
{{- if and (eq $service "storage") (ne $root.Values.s3.mode "none") (include "steno.s3Secret" $root) }}
S3_ACCESS_KEY_ID: {secret: {{ include "steno.s3Secret" $root }}, key: access-key-id}
S3_SECRET_ACCESS_KEY: {secret: {{ include "steno.s3Secret" $root }}, key: secret-access-key}
{{- end }}
{{- if and (eq $service "inference") (ne $root.Values.triton.mode "none") $root.Values.triton.controlSecret }}
TRITON_CONTROL_HEADER: {secret: {{ $root.Values.triton.controlSecret }}, key: header}
{{- end }}
{{- end }}

{{- define "steno.databaseReference" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.postgres.mode "chart" -}}
{secret: {{ include "steno.postgresSecret" $root }}, key: url}
{{- else -}}
{secret: {{ $root.Values.postgres.external.existingSecret }}, key: {{ index $root.Values.postgres.external (printf "%sKey" (index . 1)) }}}
{{- end -}}
{{- end }}

{{- define "steno.tracing" -}}
{{- with .Values.tracing }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_TRACES_SAMPLER, value: {{ .sampler | quote }}}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ toJson .ratio | quote }}}
{{- if .resourceAttributes }}
- {name: OTEL_RESOURCE_ATTRIBUTES, value: {{ .resourceAttributes | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- /* The list `env` of a service's container: (list $ service). */}}
{{- define "steno.environment" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $prefix := printf "STENO_%s_" (upper $service) -}}
{{- $variables := include "steno.wiring" . | fromYaml -}}
{{- range $name, $value := index $root.Values.settings $service }}
{{- $_ := set $variables (upper $name) $value }}
{{- end }}
{{- range $name, $value := $variables }}
- name: {{ $prefix }}{{ $name }}
  value: {{ include "steno.plain" $value | quote }}
{{- end }}
{{- if include "steno.secretSettings" . | fromYaml }}
- name: STENO_SECRETS_DIRECTORY
  value: /etc/steno/secrets
{{- end }}
{{- if $root.Values.tracing.endpoint }}
{{- include "steno.tracing" $root }}
{{- end }}
{{- end }}
