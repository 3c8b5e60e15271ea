"use strict";

SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#page",
  deepLinking: true,
  docExpansion: "list",
  // Folded: the schemas of stanzas are long.
  defaultModelsExpandDepth: 0,
  // It would send the description to a server of Swagger's.
  validatorUrl: null,
  requestInterceptor: (request) => {
    // The browser would ask for a password of its own at each 401.
    request.credentials = "omit";
    // What the page shows as chosen, until something is.
    if (request.headers?.accept === "*/*") {
      request.headers.accept = "application/json";
    }
    return request;
  },
});
