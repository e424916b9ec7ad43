{{- define "nasfeat.name" -}}
{{- .Chart.Name }}
{{- end }}

{{/* The release's name alone where it says nasfeat already; short enough for what is put behind it. */}}
{{- define "nasfeat.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "nasfeat.selector" -}}
app.kubernetes.io/name: {{ include "nasfeat.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nasfeat.labels" -}}
{{ include "nasfeat.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "nasfeat.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default (printf "%s-%s" $.Chart.AppVersion (ternary "cuda" "cpu" (gt (int $.Values.gpus) 0))) }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What the chart has decided, over what values.yaml says. */}}
{{- define "nasfeat.decided" -}}
model:
  cache: /var/cache/nasfeat
serving:
  listen: 0.0.0.0:50051
  control: /run/nasfeat/control
telemetry:
  metrics: 0.0.0.0:9464
{{- if .Values.gpus }}
engine:
  devices:
    {{- range until (int .Values.gpus) }}
    - gpu:{{ . }}
    {{- end }}
{{- end }}
security:
  {{- if .Values.tls.secretName }}
  tls-cert: /etc/nasfeat/tls/tls.crt
  tls-key: /etc/nasfeat/tls/tls.key
  {{- end }}
  {{- if .Values.tls.clientCaSecretName }}
  tls-client-ca: /etc/nasfeat/clients/ca.crt
  {{- end }}
  {{- if .Values.tokens.secretName }}
  tokens: /etc/nasfeat/tokens/tokens.toml
  {{- end }}
{{- end }}

{{/* The file of settings. JSON's strings, numbers and lists are TOML's; Helm's own toToml makes 32 to 32.0. */}}
{{- define "nasfeat.toml" -}}
{{- $settings := mustMergeOverwrite (deepCopy .Values.config) (include "nasfeat.decided" . | fromYaml) -}}
{{- range $section, $keys := $settings -}}
{{- if $keys }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ mustToJson $value }}
{{- end }}
{{ end -}}
{{- end -}}
{{- end }}

{{/* A probe of one service: by the kubelet, or where TLS is spoken, which it does not speak, by the server's own command. */}}
{{- define "nasfeat.probe" -}}
{{- if .root.Values.tls.secretName -}}
exec:
  command:
    - nasfeat-server
    - health
    - --service={{ .service }}
    # The certificate that the server was given is trusted, whoever signed it.
    - --tls-ca=/etc/nasfeat/tls/tls.crt
    - --server-name={{ required "tls.serverName is needed with tls.secretName: a name in the certificate" .root.Values.tls.serverName }}
    {{- if .root.Values.tls.clientCaSecretName }}
    - --tls-cert=/etc/nasfeat/probe/tls.crt
    - --tls-key=/etc/nasfeat/probe/tls.key
    {{- end }}
{{- else -}}
grpc:
  port: 50051
  {{- with .service }}
  service: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
