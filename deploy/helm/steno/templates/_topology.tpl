{{- /* What each service is: its port for callers, whom it calls, which keys and certificates it holds, whether it has a database. */}}
{{- define "steno.topology" -}}
gateway:
  ports: {http: 8080}
  calls: [billing, storage, jobs, inference]
  keys: [identity.pem]
  database: false
billing:
  ports: {grpc: 7001}
  calls: []
  keys: [identity.pem, pepper]
  database: true
storage:
  ports: {grpc: 7002, data: 7012}
  calls: [billing]
  keys: [identity.pem, signing-key]
  database: true
jobs:
  ports: {grpc: 7003}
  calls: [billing, storage]
  keys: [identity.pem, claim-key]
  database: true
inference:
  ports: {grpc: 7004}
  calls: [billing, storage, jobs]
  keys: [identity.pem]
  database: false
{{- end }}

{{- /* Who reads bytes from storage's data plane. */}}
{{- define "steno.dataClients" -}}
[gateway, inference]
{{- end }}

{{- /* Work queues of inference: consumer's name, and the value that says how much of it one pod is there for. */}}
{{- define "steno.queues" -}}
- {consumer: work-transcription, perPod: jobsPerPod}
- {consumer: work-training, perPod: trainingsPerPod}
- {consumer: work-detection, perPod: detectionsPerPod}
{{- end }}

{{- define "steno.metricsPort" -}}
9090
{{- end }}
