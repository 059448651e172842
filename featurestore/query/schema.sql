-- The views that a user queries. Python registers what they stand on, one relation a kind of table over
-- all committed shards (stored_structures, stored_entries, …) and a few small tables about the store
-- itself (stored_shards, stored_rejects, …); nothing here is kept in a file, so nothing can go stale.

-- Structures, each once. Å and Å³. Where datasets share one, the floats are those of the first dataset by
-- name. lattice: three vectors one after another; frac_coords: three numbers an atom, the provider's order.
-- Where has_positions is false only a composition is known: numbers are those of one formula unit, volume and
-- lattice are 0, and frac_coords is empty.
CREATE VIEW structures AS
SELECT s.structure_id, s.formula, s.n_atoms, s.volume, s.lattice, s.numbers, s.frac_coords,
    len(s.frac_coords) > 0 AS has_positions, shards.dataset AS floats_from
FROM stored_structures s JOIN stored_shards shards USING (filename)
QUALIFY row_number() OVER (PARTITION BY s.structure_id ORDER BY shards.number, s.file_row_number) = 1;

-- Records of the datasets; entry_id is the provider's own, position the place in the provider's file.
CREATE VIEW entries AS
SELECT dataset, entry_id, structure_id, position FROM stored_entries;

-- Values of the datasets' properties, in the unit that stands beside them.
CREATE VIEW targets AS
SELECT dataset, property, entry_id, structure_id, value, unit FROM stored_targets;

-- Which part (train, val or test) an entry lies in, for each way and seed of splitting.
CREATE VIEW splits AS
SELECT scheme, seed, dataset, property, entry_id, fold, part FROM stored_splits;

-- What was read off the test part, for the chosen run, ALIGNN from scratch, the forest by
-- composition and Base; mae in the target's unit.
CREATE VIEW scores AS
SELECT run_id, dataset, property, part, role, mae, mae_low, mae_high, r2, spearman, n, balanced_accuracy,
    balanced_accuracy_low, balanced_accuracy_high, accuracy, roc_auc, log_loss, calibration_error, calibration
FROM stored_scores;

-- Where the chosen runs expected the values of the test part, in the target's unit: the share `level` of them
-- between low and high, with the absolute error expected_error. domain: inside, edge or outside; percentile: of
-- the training rows, in %, that are less remote from the others than the entry.
CREATE VIEW intervals AS
SELECT run_id, dataset, property, entry_id, part, low, high, level, expected_error, percentile, domain
FROM stored_intervals;

-- Every look at a test part: which run, in which role, chosen among what, by which stage. looked_at in UTC.
CREATE VIEW looks AS
SELECT run_id, dataset, property, scheme, seed, fold, role, among, stage, n, looked_at::TIMESTAMP AS looked_at
FROM stored_looks;

-- Screenings that were kept by name: structures of whole datasets as a model ranks them. value, low and high in
-- the unit beside them; chance: that the value lies between minimum and maximum. domain: inside, edge or outside;
-- percentile: of the training rows, in %, that are less remote from the others than the structure. made_at in UTC.
CREATE VIEW screens AS
SELECT screen, model, model_sha256, rank, structure_id, value, unit, low, high, level, chance, minimum, maximum,
    domain, percentile, made_at::TIMESTAMP AS made_at
FROM stored_screens;

-- Fitted models. …_mae in the target's unit; test_… only where `evaluate` looked, base_test_mae beside
-- it from Base on the same split; role: chosen, scratch, composition or base. created_at in UTC.
CREATE VIEW runs AS
WITH looked AS (
    SELECT run_id, min(role) AS role, any_value(mae) AS test_mae, any_value(mae_low) AS test_mae_low,
        any_value(mae_high) AS test_mae_high, any_value(r2) AS test_r2,
        any_value(spearman) AS test_spearman
    FROM stored_scores WHERE part = 'test' GROUP BY run_id
),
base AS (
    SELECT r.dataset, r.property, r.scheme, r.seed, r.fold, any_value(looked.test_mae) AS base_test_mae
    FROM stored_runs r JOIN looked USING (run_id) WHERE looked.role = 'base'
    GROUP BY r.dataset, r.property, r.scheme, r.seed, r.fold
)
SELECT r.run_id, r.method, r.head, r.feature_set, r.dataset, r.property, r.unit, r.scheme, r.seed, r.fold,
    r.source_model, r.extraction_id, r.n_train, r.n_val, r.n_test, r.train_mae, r.val_mae,
    looked.test_mae, looked.test_mae_low, looked.test_mae_high, looked.test_r2, looked.test_spearman,
    CASE WHEN looked.test_mae IS NOT NULL THEN base.base_test_mae END AS base_test_mae,
    looked.role, r.fit_seconds, r.label, r.settings, r.versions, r.model_path,
    r.created_at::TIMESTAMP AS created_at, r.cv_mae, r.choice, r.train_log_loss, r.val_log_loss, r.model_sha256
FROM stored_runs r
LEFT JOIN looked USING (run_id)
LEFT JOIN base USING (dataset, property, scheme, seed, fold);

-- What each run says of each entry, in the target's unit. Of a property of classes there is a row an entry and
-- class: label names it, and prediction is its probability.
CREATE VIEW predictions AS
SELECT run_id, dataset, property, entry_id, part, prediction, label FROM stored_predictions;

-- Records that were left out, and why. In the table `features`, id is a structure_id.
CREATE VIEW rejects AS
SELECT "table", dataset, id, code, message, extraction_id FROM stored_rejects;

-- The store's growth, one row per commit: n counts over all tables, version within one. written_at in UTC.
CREATE VIEW log AS
SELECT n, "table", dataset, version, operation, written_at, shards_added, rows_added, bytes_added,
    shards_removed, rows_removed, bytes_removed, rejects
FROM stored_log;

-- The live files.
CREATE VIEW shards AS
SELECT "table", dataset, keys, rows, bytes, sha256, provenance FROM stored_shards ORDER BY number;

-- Source model × graph settings × pooling × numeric mode × code schema; provenance as JSON. environments:
-- torch, numpy and platform of every machine that computed some of it. is_current: the one that is read where
-- only the source model is named; is_default: where not even that is.
CREATE VIEW extractions AS
SELECT f.extraction_id, any_value(f.source_model) AS source_model, count(*) AS structures,
    any_value(p.provenance) AS provenance, any_value(p.environments) AS environments,
    coalesce(any_value(c.is_default), false) AS is_default, any_value(c.extraction_id) IS NOT NULL AS is_current
FROM stored_features f
LEFT JOIN stored_provenance p USING (extraction_id)
LEFT JOIN stored_extractions c USING (extraction_id, source_model)
GROUP BY f.extraction_id ORDER BY is_default DESC, source_model, f.extraction_id;

-- How far each extraction reaches: structures of a dataset with vectors, rejected, and still missing.
CREATE VIEW coverage AS
WITH wanted AS (SELECT DISTINCT dataset, structure_id FROM stored_entries),
ids AS (SELECT DISTINCT extraction_id, source_model FROM stored_features),
done AS (SELECT structure_id, extraction_id, true AS yes FROM stored_features),
refused AS (
    SELECT DISTINCT id AS structure_id, extraction_id, true AS yes
    FROM stored_rejects WHERE "table" = 'features'
)
SELECT ids.extraction_id, ids.source_model, wanted.dataset, count(*) AS structures,
    count(done.yes) AS extracted, count(refused.yes) AS rejected,
    count(*) - count(done.yes) - count(refused.yes) AS missing
FROM wanted CROSS JOIN ids
LEFT JOIN done USING (structure_id, extraction_id)
LEFT JOIN refused USING (structure_id, extraction_id)
GROUP BY ALL ORDER BY ids.extraction_id, wanted.dataset;

-- The source models that vectors are kept of; one of them is the default.
CREATE VIEW source_models AS
SELECT e.source_model, count(*) AS extractions, sum(e.structures) AS structures,
    bool_or(e.is_default) AS is_default, any_value(c.backbone) AS backbone,
    any_value(len(c.checkpoints)) AS checkpoints
FROM extractions e LEFT JOIN stored_extractions c USING (source_model)
GROUP BY e.source_model ORDER BY is_default DESC, e.source_model;

-- The datasets that are kept, with what their cards said when they were ingested.
CREATE VIEW datasets AS
SELECT kept.dataset, c.title, c.provider, c.material_class, c.licence, c.doi,
    coalesce(e.entries, 0) AS entries, coalesce(e.structures, 0) AS structures,
    coalesce(t.properties, 0) AS properties
FROM (SELECT DISTINCT dataset FROM stored_shards WHERE dataset IS NOT NULL) kept
LEFT JOIN stored_datasets c USING (dataset)
LEFT JOIN (
    SELECT dataset, count(*) AS entries, count(DISTINCT structure_id) AS structures
    FROM stored_entries GROUP BY dataset
) e USING (dataset)
LEFT JOIN (
    SELECT dataset, count(DISTINCT property) AS properties FROM stored_targets GROUP BY dataset
) t USING (dataset)
ORDER BY kept.dataset;

-- The properties of the datasets, with what the cards said of them.
CREATE VIEW properties AS
SELECT dataset, p.name AS property, p.unit, p.description, p.origin, p.paper_name,
    CASE json_type(scales, p.name) WHEN 'VARCHAR' THEN json_extract_string(scales, p.name) END AS transform,
    CASE json_type(scales, p.name) WHEN 'ARRAY' THEN json_extract_string(scales, p.name)::VARCHAR[] END AS classes
FROM (SELECT dataset, unnest(properties) AS p, scales FROM stored_datasets)
ORDER BY dataset, property;
