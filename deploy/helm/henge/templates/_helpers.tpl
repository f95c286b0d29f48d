{{- define "henge.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
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

{{/* Ports of the pods, as rules of NetworkPolicies have them. */}}
{{- define "henge.policyPorts" -}}
{{- if not .Values.tls.only }}
- {port: http, protocol: TCP}
{{- end }}
{{- if .Values.tls.existingSecret }}
- {port: https, protocol: TCP}
{{- end }}
{{- end }}

{{/* Kinds of nodes, with what `defaults` says of all: {nodes: {name: …}}, as JSON. */}}
{{- define "henge.nodes" -}}
{{- $nodes := dict -}}
{{- range $name, $own := .Values.nodes -}}
{{- $_ := set $nodes $name (mergeOverwrite (deepCopy $.Values.defaults) (deepCopy $own)) -}}
{{- end -}}
{{- dict "nodes" $nodes | toJson -}}
{{- end }}
