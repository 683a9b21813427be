{{- /* What the schema cannot say. */}}
{{- define "steno.checks" -}}
{{- $values := .Values -}}
{{- if and (eq $values.postgres.mode "external") (not $values.postgres.external.existingSecret) -}}
{{- fail "postgres.external.existingSecret: name the Secret with the URLs of your Postgres" -}}
{{- end -}}
{{- if and (eq $values.nats.mode "external") (not $values.nats.external.url) -}}
{{- fail "nats.external.url: say where your NATS is" -}}
{{- end -}}
{{- if and (eq $values.triton.mode "external") (not $values.triton.external.address) -}}
{{- fail "triton.external.address: say where your Triton is" -}}
{{- end -}}
{{- if and (eq $values.s3.mode "none") (eq $values.s3.blobs.accessMode "ReadWriteOnce") (or (gt (int $values.services.storage.replicas) 1) $values.services.storage.autoscaling.enabled) -}}
{{- fail "services.storage: several pods need s3.mode chart or external, or s3.blobs.accessMode ReadWriteMany" -}}
{{- end -}}
{{- if and $values.services.inference.keda.enabled $values.services.inference.autoscaling.enabled -}}
{{- fail "services.inference: either keda or autoscaling sets the number of pods" -}}
{{- end -}}
{{- if and $values.services.inference.keda.enabled (eq $values.nats.mode "external") (not $values.nats.external.monitorEndpoint) -}}
{{- fail "nats.external.monitorEndpoint: KEDA asks there how much work waits" -}}
{{- end -}}
{{- if and (eq $values.s3.mode "chart") (not (has "plaintext_web" ($values.settings.storage.accepted_risks | default list))) -}}
{{- fail "s3.mode: the chart's S3 server speaks plain text inside the cluster; accept it by settings.storage.accepted_risks: [plaintext_web], or use your own" -}}
{{- end -}}
{{- if and (eq $values.nats.mode "external") (not $values.nats.external.monitorUrl) -}}
{{- range list "gateway" "billing" "storage" "jobs" "inference" -}}
{{- if not (has "bus_durability" ((index $values.settings .).accepted_risks | default list)) -}}
{{- fail (printf "nats.external.monitorUrl: services ask there whether every write is synced; without it accept bus_durability in settings.%s.accepted_risks" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.stripeSecret (not $values.services.billing.internet) -}}
{{- fail "services.billing.internet: selling by Stripe needs it" -}}
{{- end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: name the Gateway" -}}
{{- end -}}
{{- if $values.networkPolicy.enabled -}}
{{- range $what, $mode := dict "postgres" $values.postgres.mode "nats" $values.nats.mode "triton" $values.triton.mode -}}
{{- if and (eq $mode "external") (not (index $values.networkPolicy.external $what)) -}}
{{- fail (printf "networkPolicy.external.%s: say where it is, or nothing may connect to it" $what) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.s3.mode "external") (not $values.networkPolicy.external.s3) (ne (toJson $values.settings.storage.s3_presigned_downloads) "false") -}}
{{- fail "networkPolicy.external.s3: the gateway and inference read from the bucket; say where it is, or set settings.storage.s3_presigned_downloads: false" -}}
{{- end -}}
{{- if and $values.tracing.endpoint (not $values.networkPolicy.external.telemetry) -}}
{{- fail "networkPolicy.external.telemetry: say where the collector is, or nothing may connect to it" -}}
{{- end -}}
{{- end -}}
{{- range $service, $pod := $values.services -}}
{{- if lt (int $pod.terminationGracePeriodSeconds) (add (int $pod.preStopSeconds) (int $pod.noticeSeconds) 15 | int) -}}
{{- fail (printf "services.%s.terminationGracePeriodSeconds: at least 15 more than preStopSeconds and noticeSeconds together" $service) -}}
{{- end -}}
{{- end -}}
{{- end }}
