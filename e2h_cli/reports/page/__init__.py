"""One HTML file that shows a finished run: data as plain JSON, template, scripts and styles.

| module | contents |
| --- | --- |
| sample_data, score_data | problems and their solutions; votes and scores of a rerank stage |
| kept_samples | which solutions of a large run the file holds |
| view_data | tables, claims, figures and case studies of views |
| training_data | logs of trainings and rollouts |
| html_document | the file: data compressed, scripts under a content security policy |

``static/`` holds our scripts and styles, ``vendor/`` libraries of others as they are published.
"""
