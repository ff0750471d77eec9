package camara

import (
	"encoding/json"
	"net/http"
)

// ErrorInfo is CAMARA's answer to what is not done, and the error that means it.
type ErrorInfo struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (e *ErrorInfo) Error() string { return e.Message }

// Codes of ErrorInfo that are used here.
const (
	CodeInvalidArgument   = "INVALID_ARGUMENT"
	CodeOutOfRange        = "OUT_OF_RANGE"
	CodeInvalidCredential = "INVALID_CREDENTIAL"
	CodeInvalidToken      = "INVALID_TOKEN"
	CodeInvalidSink       = "INVALID_SINK"
	CodeUnauthenticated   = "UNAUTHENTICATED"
	CodePermissionDenied  = "PERMISSION_DENIED"
	CodeNotFound          = "NOT_FOUND"
	CodeDeviceNotFound    = "IDENTIFIER_NOT_FOUND"
	CodeMethodNotAllowed  = "METHOD_NOT_ALLOWED"
	CodeConflict          = "CONFLICT"
	CodeNoExtension       = "QUALITY_ON_DEMAND.SESSION_EXTENSION_NOT_ALLOWED"
	CodeUnsupportedMedia  = "UNSUPPORTED_MEDIA_TYPE"
	CodeNotApplicable     = "SERVICE_NOT_APPLICABLE"
	CodeMissingDevice     = "MISSING_IDENTIFIER"
	CodeUnsupportedDevice = "UNSUPPORTED_IDENTIFIER"
	CodeUnnecessaryDevice = "UNNECESSARY_IDENTIFIER"
	CodeProfileNotUsable  = "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE"
	CodeTooManyRequests   = "TOO_MANY_REQUESTS"
	CodeInternal          = "INTERNAL"
	CodeUnavailable       = "UNAVAILABLE"
)

// kind is a code's status and its message where nothing better can be said.
type kind struct {
	status  int
	message string
}

var kinds = map[string]kind{
	CodeInvalidArgument:   {http.StatusBadRequest, "Client specified an invalid argument, request body or query param."},
	CodeOutOfRange:        {http.StatusBadRequest, "Client specified an invalid range."},
	CodeInvalidCredential: {http.StatusBadRequest, "Only Access token is supported"},
	CodeInvalidToken:      {http.StatusBadRequest, "Only bearer token is supported"},
	CodeInvalidSink:       {http.StatusBadRequest, "sink not valid for the specified protocol"},
	CodeUnauthenticated:   {http.StatusUnauthorized, "Request not authenticated due to missing, invalid, or expired credentials. A new authentication is required."},
	CodePermissionDenied:  {http.StatusForbidden, "Client does not have sufficient permissions to perform this action."},
	CodeNotFound:          {http.StatusNotFound, "The specified resource is not found."},
	CodeDeviceNotFound:    {http.StatusNotFound, "Device identifier not found."},
	CodeMethodNotAllowed:  {http.StatusMethodNotAllowed, "The request method is not supported for this resource."},
	CodeConflict:          {http.StatusConflict, "Conflict with an existing session for the same device."},
	CodeNoExtension:       {http.StatusConflict, "Extending the session duration is not allowed in the current state. The session must be in the AVAILABLE state."},
	CodeUnsupportedMedia:  {http.StatusUnsupportedMediaType, "The request body must be application/json."},
	CodeNotApplicable:     {http.StatusUnprocessableEntity, "The service is not available for the provided identifier."},
	CodeMissingDevice:     {http.StatusUnprocessableEntity, "The device cannot be identified."},
	CodeUnsupportedDevice: {http.StatusUnprocessableEntity, "The identifier provided is not supported."},
	CodeUnnecessaryDevice: {http.StatusUnprocessableEntity, "The device is already identified by the access token."},
	CodeProfileNotUsable:  {http.StatusUnprocessableEntity, "The requested QoS Profile is currently not available for session creation."},
	CodeTooManyRequests:   {http.StatusTooManyRequests, "Rate limit reached."},
	CodeInternal:          {http.StatusInternalServerError, "The request could not be done: ask the operator to look at the controller's log, and try again."},
	CodeUnavailable:       {http.StatusServiceUnavailable, "The controller is stopping: try again in a moment."},
}

// Fail returns the error of a code; an empty message is the code's own.
func Fail(code, message string) *ErrorInfo {
	k, known := kinds[code]
	if !known {
		code, k = CodeInternal, kinds[CodeInternal]
	}
	if message == "" {
		message = k.message
	}
	return &ErrorInfo{Status: k.status, Code: code, Message: message}
}

// WriteError answers with e.
func WriteError(w http.ResponseWriter, e *ErrorInfo) {
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, e.Status, e)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"status":500,"code":"INTERNAL","message":"the answer could not be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}
