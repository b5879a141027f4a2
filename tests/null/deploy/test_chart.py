"""The Helm chart renders to manifests that Kubernetes' own schemas accept, and refuses values that cannot work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

helm = pytest.importorskip("helm_python", reason="needs the extra `chart`: make chart")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs the extra `chart`: make chart")
yaml = pytest.importorskip("yaml")

CHART = Path(__file__).parents[3] / "deploy" / "helm" / "coterie"
DATABASE = {"database": {"secret": "db"}}
CASES = {
    "one": {"replicas": 1},
    "two": {**DATABASE, "replicas": 2},
    "scaled": {**DATABASE, "autoscaling": {"enabled": True, "min": 2, "max": 5}},
    "claim": {"replicas": 1, "network": {"from": "claim", "claim": "networks"}},
    "bundle": {"replicas": 1, "network": {"from": "bundle", "bundle": "registry.example/shop:3"}},
    "all": {
        **DATABASE,
        "replicas": 2,
        "environment": {"LANG": "C.UTF-8"},
        "secrets": {"OPENAI_KEY": {"secret": "models", "key": "openai"}},
        "inferencePool": {"enabled": True, "endpointPicker": "picker"},
        "imagePullSecrets": [{"name": "pull"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    },
}
OURS = {"InferencePool"}
"""Kinds of an extension, of which there is no schema here."""


def rendered(values: dict[str, object]) -> list[dict]:
    """The manifests of a release."""
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(values, name="shop", namespace="default")
    return [document for text in texts.values() for document in yaml.safe_load_all(text) if document]


@pytest.mark.parametrize("case", CASES)
def test_schemas(case):
    """Every manifest, strictly: no key that Kubernetes does not know."""
    documents = rendered(CASES[case])
    for document in documents:
        if document["kind"] not in OURS:
            kubernetes_validate.validate(document, "1.36", strict=True)
    kinds = {document["kind"] for document in documents}
    assert {"Deployment", "Service"} <= kinds
    assert ("HorizontalPodAutoscaler" in kinds) == (case == "scaled")
    assert ("PodDisruptionBudget" in kinds) == (case in {"two", "scaled", "all"})


@pytest.mark.parametrize("case", CASES)
def test_lint(case):
    """Helm's own lint, with warnings as errors."""
    report = helm.lint(CHART, CASES[case], strict=True, kube_version="v1.36.0")
    assert not report["errors"], report
    assert [message for message in report["messages"] if message["severity"] > 1] == []


def test_pods_are_restricted():
    """No root, no privilege, nothing written to the image, no token of the cluster."""
    (deployment,) = [manifest for manifest in rendered(CASES["all"]) if manifest["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"DATABASE_URL", "OPENAI_KEY"} <= {variable["name"] for variable in container["env"]}
    assert all(
        "value" not in variable for variable in container["env"] if variable["name"] in {"DATABASE_URL", "OPENAI_KEY"}
    )


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 2},
        {"replicas": 0},
        {"replica": 3},
        {"replicas": 1, "network": {"from": "claim"}},
        {"replicas": 1, "autoscaling": {"enabled": True}},
        {**DATABASE, "autoscaling": {"enabled": True, "min": 8, "max": 2}},
        {**DATABASE, "autoscaling": {"enabled": True, "min": 2, "max": 5}, "disruption": {"minAvailable": 2}},
        {**DATABASE, "replicas": 2, "disruption": {"minAvailable": 3}},
    ],
)
def test_refused(values):
    """Several replicas without a database, an unknown value, a volume without a name, bounds that cannot hold."""
    with pytest.raises(helm.HelmError):
        rendered(values)


def test_metric_exists():
    """What the autoscaler asks for is what `/metrics` says."""
    source = (Path(__file__).parents[3] / "src/coterie/observe/metrics.py").read_text()
    template = (CHART / "templates" / "autoscaling.yaml").read_text()
    (name,) = re.findall(r"metric: \{name: (\w+)\}", template)
    assert f'"{name}"' in source
