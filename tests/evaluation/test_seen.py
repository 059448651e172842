"""Which source models were trained on a target's values."""

from evaluation.seen import SeenLabels


def test_of_several_source_models_those_that_saw_the_label_are_named():
    seen = SeenLabels()
    assert seen.by("alignn_mp_eform", "megnet", "formation_energy") == ("alignn_mp_eform",)
    assert seen.by("alignn_ff+alignn_mp_eform", "megnet", "formation_energy") == ("alignn_mp_eform",)
    assert seen.by("alignn_ff+alignn_mp_eform", "jarvis_3d", "total_energy") == ("alignn_ff",)


def test_another_property_or_a_run_without_vectors_is_not_marked():
    seen = SeenLabels()
    assert seen.by("alignn_mp_eform", "megnet", "bulk_modulus") == ()
    assert seen.by("alignn_mp_eform", "ase_elements", "formation_energy") == ()
    assert seen.by(None, "megnet", "formation_energy") == ()
    assert seen.by("of_my_own", "megnet", "formation_energy") == ()
