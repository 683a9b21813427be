{{- define "steno.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* What every pod has, for a user's id: (list $ uid). */}}
{{- define "steno.podSecurity" -}}
automountServiceAccountToken: false
# A Service named steno-jobs would otherwise set STENO_JOBS_PORT.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ index . 1 }}
  runAsGroup: {{ index . 1 }}
  fsGroup: {{ index . 1 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Away from its like, where the cluster has room: (list $ component). */}}
{{- define "steno.spread" -}}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "steno.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}

{{- define "steno.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- /* The gateway is asked over HTTP; the others want a certificate, which kubelet has not. */}}
{{- define "steno.probes" -}}
{{- if eq .service "gateway" }}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 3
  failureThreshold: 100
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- else }}
startupProbe:
  tcpSocket: {port: grpc}
  periodSeconds: 3
  failureThreshold: 100
livenessProbe:
  tcpSocket: {port: grpc}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  exec: {command: [python, -m, services.mesh.probe, "127.0.0.1:{{ .port }}"]}
  periodSeconds: 10
  timeoutSeconds: 8
  failureThreshold: 2
{{- end }}
{{- end }}

{{- /* Volumes of a service with where they are mounted: (list $ service). `volume` is the volume's source. */}}
{{- define "steno.volumes" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $values := $root.Values -}}
{{- $pod := index $values.services $service -}}
{{- $topology := include "steno.topology" $root | fromYaml -}}
- name: tmp
  path: /tmp
  volume: {emptyDir: {sizeLimit: {{ $pod.scratchSize }}}}
- name: keys
  path: /etc/steno/keys
  readOnly: true
  volume:
    secret:
      secretName: {{ include "steno.keysSecret" $root }}
      defaultMode: 0440
      items:
        {{- range (index $topology $service).keys }}
        - {key: {{ . }}, path: {{ . }}}
        {{- end }}
- name: certificates
  path: /etc/steno/certificates
  readOnly: true
  volume: {secret: {secretName: {{ include "steno.certificateSecret" . }}, defaultMode: 0440}}
{{- with include "steno.secretSettings" . | fromYaml }}
- name: secrets
  path: /etc/steno/secrets
  readOnly: true
  volume: {{- include "steno.secretFiles" (dict "service" $service "references" .) | nindent 4 }}
{{- end }}
{{- if and (index $topology $service).database (include "steno.postgresAuthority" $root) }}
{{ include "steno.postgresAuthority" $root }}
{{- end }}
{{- if eq $service "storage" }}
- name: blobs
  path: /var/lib/steno/blobs
  {{- if eq $values.s3.mode "none" }}
  volume: {persistentVolumeClaim: {claimName: {{ include "steno.fullname" $root }}-blobs}}
  {{- else }}
  volume: {emptyDir: {sizeLimit: {{ $pod.scratchSize }}}}
  {{- end }}
{{- end }}
{{- if eq $service "inference" }}
- name: scratch
  path: /var/lib/steno/scratch
  volume: {emptyDir: {sizeLimit: {{ $pod.scratchSize }}}}
{{- if include "steno.modelsClaim" $root }}
- name: models
  path: /var/lib/steno/models
  readOnly: true
  volume: {persistentVolumeClaim: {claimName: {{ include "steno.modelsClaim" $root }}, readOnly: true}}
{{- end }}
{{- end }}
{{- if and (eq $service "billing") $values.plans }}
- name: plans
  path: /etc/steno/plans.toml
  file: plans.toml
  readOnly: true
  volume: {configMap: {name: {{ include "steno.fullname" $root }}-plans}}
{{- end }}
{{- if and (eq $service "billing") $values.stripeSecret }}
- name: stripe
  path: /etc/steno/stripe
  readOnly: true
  volume: {secret: {secretName: {{ $values.stripeSecret }}, defaultMode: 0440}}
{{- end }}
{{- if and (eq $service "gateway") $values.issuersSecret }}
- name: issuers
  path: /etc/steno/issuers
  readOnly: true
  volume: {secret: {secretName: {{ $values.issuersSecret }}, defaultMode: 0440}}
{{- end }}
{{- if and (eq $service "gateway") $values.summaryChatSecret }}
- name: summary-chat
  path: /etc/steno/summary-chat
  readOnly: true
  volume: {secret: {secretName: {{ $values.summaryChatSecret }}, defaultMode: 0440}}
{{- end }}
{{- if and (has $service (list "gateway" "storage")) $values.egressAuthorityConfigMap }}
- name: egress
  path: /etc/steno/egress
  readOnly: true
  volume: {configMap: {name: {{ $values.egressAuthorityConfigMap }}}}
{{- end }}
{{- end }}

{{- /* A file named like its variable for each of `references`, such settings of `service`. */}}
{{- define "steno.secretFiles" -}}
projected:
  defaultMode: 0440
  sources:
    {{- range $name, $reference := .references }}
    - secret:
        name: {{ $reference.secret }}
        items: [{key: {{ $reference.key }}, path: STENO_{{ upper $.service }}_{{ $name }}}]
    {{- end }}
{{- end }}

{{- /* The URLs of all three databases, for the operator's commands. */}}
{{- define "steno.databaseFiles" -}}
projected:
  defaultMode: 0440
  sources:
    {{- range list "billing" "storage" "jobs" }}
    {{- $reference := include "steno.databaseReference" (list $ .) | fromYaml }}
    - secret:
        name: {{ $reference.secret }}
        items: [{key: {{ $reference.key }}, path: STENO_{{ upper . }}_DATABASE_URL}]
    {{- end }}
{{- end }}

{{- define "steno.postgresAuthority" -}}
{{- if and (eq .Values.postgres.mode "external") .Values.postgres.external.authorityConfigMap -}}
- name: postgres
  path: /etc/steno/postgres
  readOnly: true
  volume: {configMap: {name: {{ .Values.postgres.external.authorityConfigMap }}}}
{{- end }}
{{- end }}

{{- /* `volumeMounts` and `volumes` from such a list. */}}
{{- define "steno.mounts" -}}
{{- range . }}
- name: {{ .name }}
  mountPath: {{ .path }}
  {{- with .file }}
  subPath: {{ . }}
  {{- end }}
  {{- with .readOnly }}
  readOnly: true
  {{- end }}
{{- end }}
{{- end }}

{{- define "steno.sources" -}}
{{- range . }}
- name: {{ .name }}
  {{- toYaml .volume | nindent 2 }}
{{- end }}
{{- end }}
