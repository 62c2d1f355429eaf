/** What Kubernetes makes of a pod's env, for tests of what the agent gets in the end. */
import type { V1Container, V1Pod } from "@kubernetes/client-node";

/**
 * The kubelet's expansion of a value (Kubernetes, third_party/forked/golang/expansion/expand.go): `$$` is
 * `$`, `$(NAME)` is another variable's value, and `$(NAME)` of an unknown one stays.
 */
export function expand(text: string, variables: Readonly<Record<string, string>>): string {
  let result = "";
  for (let at = 0; at < text.length; at++) {
    const next = text[at + 1];
    if (text[at] !== "$" || next === undefined) {
      result += text[at] ?? "";
      continue;
    }
    const end = next === "(" ? text.indexOf(")", at) : -1;
    if (next === "(" && end >= 0) {
      const name = text.slice(at + 2, end);
      result += variables[name] ?? `$(${name})`;
      at = end;
    } else {
      result += next === "$" ? "$" : `$${next}`;
      at += 1;
    }
  }
  return result;
}

export function containerOf(pod: V1Pod): V1Container {
  const [container] = pod.spec?.containers ?? [];
  if (container === undefined) throw new Error("the pod has no container");
  return container;
}

/** The environment that the container gets, on a node called `node`. */
export function environment(pod: V1Pod, node: string): Readonly<Record<string, string>> {
  const variables: Record<string, string> = {};
  for (const { name, value = "", valueFrom } of containerOf(pod).env ?? []) {
    variables[name] = valueFrom?.fieldRef?.fieldPath === "spec.nodeName" ? node : expand(value, variables);
  }
  return variables;
}
