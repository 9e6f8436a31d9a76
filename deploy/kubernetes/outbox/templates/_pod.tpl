{{- /* What every pod has in common. (dict "root" . "component" "api" "args" (list "api") "resources" … "delay" 5) */ -}}

{{- define "outbox.security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "outbox.container" -}}
image: {{ include "outbox.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .args }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: state, mountPath: /var/lib/outbox}
  {{- with .root.Values.extraVolumeMounts }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{- define "outbox.ground" -}}
automountServiceAccountToken: false
# A Service named outbox-api would put OUTBOX_API_PORT=tcp://… into every pod, which is no port.
enableServiceLinks: false
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "outbox.security" . | nindent 2 }}
volumes:
  - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
  - {name: state, emptyDir: {sizeLimit: 64Mi}}
  {{- with .Values.extraVolumes }}{{ toYaml . | nindent 2 }}{{ end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "outbox.template" -}}
{{- $grace := .root.Values.settings.OUTBOX_SHUTDOWN_GRACE | default 20 | int -}}
{{- $delay := .delay | default 0 -}}
metadata:
  labels: {{- include "outbox.labels" . | nindent 4 }}
    # As dashboards and rules have it.
    outbox/job: outbox-{{ .component }}
  annotations:
    # Changed settings are a new pod.
    outbox/settings: {{ toJson .root.Values.settings | sha256sum }}
spec:
  # More than OUTBOX_SHUTDOWN_DELAY and OUTBOX_SHUTDOWN_GRACE together.
  terminationGracePeriodSeconds: {{ add $grace $delay 5 }}
  {{- include "outbox.ground" .root | nindent 2 }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "outbox.selector" $ | nindent 10 }}
    {{- end }}
  containers:
    - name: {{ .component }}
      {{- include "outbox.container" . | nindent 6 }}
      envFrom:
        - configMapRef: {name: {{ include "outbox.name" .root }}}
        - secretRef: {name: {{ .root.Values.secret }}}
      ports:
        - {name: http, containerPort: {{ include "outbox.port" . }}}
      # A process that starts waits OUTBOX_START_PATIENCE seconds for Postgres and Redis before it serves anything.
      startupProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, failureThreshold: 60}
      livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
      readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 3, timeoutSeconds: 2, failureThreshold: 2}
      {{- if $delay }}
      # Until no balancer sends anything new, it goes on as before.
      env: [{name: OUTBOX_SHUTDOWN_DELAY, value: {{ toString $delay | quote }}}]
      {{- end }}
{{- end }}
