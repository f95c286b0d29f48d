{{- define "henge.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "henge.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "henge.labels" -}}
{{ include "henge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "henge.secret" -}}
{{ .Values.existingSecret | default (include "henge.name" .) }}
{{- end }}

{{- define "henge.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The port that clients and probes come by. */}}
{{- define "henge.port" -}}
{{ if .Values.tls.only }}https{{ else }}http{{ end }}
{{- end }}
{{- define "henge.portNumber" -}}
{{ if .Values.tls.only }}8443{{ else }}8888{{ end }}
{{- end }}
