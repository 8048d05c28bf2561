// Swagger UI over the server's own schema, if its package is installed.

if (globalThis.SwaggerUIBundle) {
  SwaggerUIBundle({ url: "api/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
}
