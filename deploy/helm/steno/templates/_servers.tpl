{{- /* A server of the chart with one volume and one pod: a StatefulSet up to its container: (list $ component uid graceSeconds checksum). */}}
{{- define "steno.serverHead" -}}
{{- $root := index . 0 -}}
{{- $component := list $root (index . 1) -}}
{{- $values := index $root.Values (index . 1) -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "steno.fullname" $root }}-{{ index . 1 }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "steno.labels" $component | nindent 4 }}
spec:
  replicas: 1
  serviceName: {{ include "steno.fullname" $root }}-{{ index . 1 }}
  selector:
    matchLabels: {{- include "steno.selector" $component | nindent 6 }}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $values.volume.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ $values.volume.size }}}}
  template:
    metadata:
      labels: {{- include "steno.labels" $component | nindent 8 }}
      annotations:
        checksum/configuration: {{ index . 4 }}
    spec:
      {{- include "steno.podSecurity" (list $root (index . 2)) | nindent 6 }}
      terminationGracePeriodSeconds: {{ index . 3 }}
      {{- with include "steno.placement" $values }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end }}

{{- /* Its headless Service: (list $ component ports), ports as name: number. */}}
{{- define "steno.serverService" -}}
{{- $root := index . 0 -}}
{{- $component := list $root (index . 1) -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "steno.fullname" $root }}-{{ index . 1 }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- include "steno.labels" $component | nindent 4 }}
spec:
  clusterIP: None
  selector: {{- include "steno.selector" $component | nindent 4 }}
  ports:
    {{- range $name, $number := index . 2 }}
    - {name: {{ $name }}, port: {{ $number }}, targetPort: {{ $name }}, protocol: TCP}
    {{- end }}
{{- end }}
