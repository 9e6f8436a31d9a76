{{- /* Names and labels. `.` is the chart's root unless said otherwise. */ -}}

{{- define "outbox.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "outbox.image" -}}
{{- $image := .Values.image -}}
{{- $repository := required "image.repository: none is published; build deploy/Dockerfile, push it, and name it here" $image.repository -}}
{{- if $image.digest }}{{ $repository }}@{{ $image.digest }}{{ else }}{{ $repository }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{- /* (dict "root" . "component" "worker" "worker" "email") */ -}}
{{- define "outbox.selector" -}}
app.kubernetes.io/name: outbox
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .worker }}
outbox/worker: {{ . }}
{{- end }}
{{- end }}

{{- define "outbox.labels" -}}
{{ include "outbox.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "outbox.port" -}}
{{- get (dict "api" 8080 "gateway" 8081 "relay" 9101 "worker" 9102) .component -}}
{{- end }}
