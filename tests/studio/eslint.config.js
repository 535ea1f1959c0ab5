/** HTML is made from nodes only, and nothing runs from strings; types are checked by tsc. */

const HTML = "make elements with h() of parts/element.js; HTML is never made from strings";
const STYLE = "set single properties of element.style; the policy of the page forbids style attributes";

export default [
  {
    files: ["src/soundloom/serving/studio/js/**/*.js"],
    rules: {
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "createContextualFragment", "setHTML", "setHTMLUnsafe", "parseFromString", "srcdoc"]
          .map((property) => ({ property, message: HTML })),
        ...["write", "writeln"].map((property) => ({ object: "document", property, message: HTML })),
        { property: "cssText", message: STYLE },
      ],
      "no-restricted-syntax": ["error", { selector: "CallExpression[callee.property.name='setAttribute'][arguments.0.value='style']", message: STYLE }],
      "no-restricted-globals": ["error", "event", "name", "alert", "prompt", "DOMParser"],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      "max-lines": ["error", 400],
      "max-len": ["error", { code: 180, ignoreUrls: true, ignorePattern: "^\\s*\\w+: \"[Mm]" }],
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "no-console": "error",
    },
  },
];
