{{- define "steno.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* Labels by which pods of one component are found: (list $ component). */}}
{{- define "steno.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* Labels of an object: (list $ component). */}}
{{- define "steno.labels" -}}
{{- $root := index . 0 -}}
{{ include "steno.selector" . }}
app.kubernetes.io/part-of: steno
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Image of a service: (list $ service). */}}
{{- define "steno.image" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $image := $root.Values.image -}}
{{- $name := printf "%s%s%s" $image.registry $image.prefix $service -}}
{{- with index $image.digests $service -}}
{{- printf "%s@%s" $name . -}}
{{- else -}}
{{- printf "%s:%s" $name (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{- /* Image of a server beside the services: its `image` value. */}}
{{- define "steno.serverImage" -}}
{{- if .digest }}{{ printf "%s@%s" .repository .digest }}{{ else }}{{ printf "%s:%s" .repository .tag }}{{ end -}}
{{- end }}

{{- /* Secret with a certificate: (list $ identity). */}}
{{- define "steno.certificateSecret" -}}
{{- $root := index . 0 -}}
{{- $identity := index . 1 -}}
{{- if eq $root.Values.mtls.source "secrets" -}}
{{- required (printf "mtls.secrets.%s: name the Secret with tls.crt, tls.key and ca.crt" $identity) (index $root.Values.mtls.secrets $identity) -}}
{{- else -}}
{{- printf "%s-%s-certificate" (include "steno.fullname" $root) $identity -}}
{{- end -}}
{{- end }}

{{- define "steno.keysSecret" -}}
{{- default (printf "%s-keys" (include "steno.fullname" .)) .Values.keys.existingSecret -}}
{{- end }}

{{- define "steno.postgresSecret" -}}
{{- default (printf "%s-postgres" (include "steno.fullname" .)) .Values.postgres.existingSecret -}}
{{- end }}

{{- define "steno.s3Secret" -}}
{{- if eq .Values.s3.mode "chart" -}}
{{- default (printf "%s-s3" (include "steno.fullname" .)) .Values.s3.existingSecret -}}
{{- else -}}
{{- .Values.s3.existingSecret -}}
{{- end -}}
{{- end }}

{{- define "steno.modelsClaim" -}}
{{- if .Values.models.create -}}
{{- default (printf "%s-models" (include "steno.fullname" .)) .Values.models.existingClaim -}}
{{- else -}}
{{- .Values.models.existingClaim -}}
{{- end -}}
{{- end }}
